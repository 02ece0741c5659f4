"""Who is next at the model servers, and how many of them there should be."""
