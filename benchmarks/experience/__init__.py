"""What the people who run the product meet: installing it, its views, its alerts, what the doctor finds."""
