"""The training program: rate-distortion first, realism second, on one device or many."""
