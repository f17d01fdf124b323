"""An app of a Django project, as there may be one already."""
