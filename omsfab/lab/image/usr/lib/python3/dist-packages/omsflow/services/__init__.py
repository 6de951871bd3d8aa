"""The long-running programs, under supervisord."""
