"""At the store: from the public model and a customer's own history to what they are shown, and how well it does."""
