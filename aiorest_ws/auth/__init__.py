"""Who asks, and whether they may: permissions, tokens, users."""
