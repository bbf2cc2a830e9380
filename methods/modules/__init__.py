"""What methods are made of: losses, heads, class knowledge."""
