"""What users write: how it is called, what its parameters mean, and which name of ours they meant."""
