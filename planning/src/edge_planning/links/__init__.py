"""What is known of a link, from what crossed it."""
