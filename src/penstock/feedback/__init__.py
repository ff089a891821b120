"""What a reply means for a recipient."""
