"""What was typed → what is served, or asked of a server, and an exit code. `aiorest_ws_cli` is its door."""
