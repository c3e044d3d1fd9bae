"""What a rater meets: the course through the trials, the database of votes, the server and its page."""
