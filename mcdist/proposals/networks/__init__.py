"""By networks that others have trained: saliency networks and Segment Anything."""
