"""Reports of stored results: tables first, then one file a format."""
