"""Training data: sources of photographs, random crops of them, streams, and the batches of a process."""
