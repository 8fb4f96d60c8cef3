"""Long work that survives its process: started, watched, cancelled, taken over, and paid by the item."""
