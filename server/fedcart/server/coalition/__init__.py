"""A coalition at its coordinator: its folder, who is invited and who is in, plans for them, and serving them."""
