"""Views of an image: parameters drawn from (seed, epoch, image, view number), and batched ops that apply them."""
