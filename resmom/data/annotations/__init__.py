"""Images with boxes, masks or a class for every pixel, as other tools write them, read into one form."""
