"""GeneLLM: the backbone, its frozen prefix and the cache of it, the adapter, training, prediction.

What a profile or a token is, and how predictions are judged, is said in other rooms.
"""
