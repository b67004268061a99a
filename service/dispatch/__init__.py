"""From accepted to delivered."""
