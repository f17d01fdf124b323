"""What is registered with a router → routes."""
