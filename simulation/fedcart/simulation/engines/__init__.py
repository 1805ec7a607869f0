"""Ways to run the two Flower apps: in this process, or on ray."""
