"""Many short jobs while everything they need is killed, stopped, filled up and set back."""
