"""The page that codes and decodes in the browser: static files, a server for them, and their export as a folder."""
