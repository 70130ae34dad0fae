"""Networks: backbones, heads, the encoder they make together, and its teacher."""
