"""What a peer's reply means for a recipient: ``outcome`` turns results of a session into outcomes."""
