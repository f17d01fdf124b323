"""The routes of a router → what they take and answer, and documents that say so to others."""
