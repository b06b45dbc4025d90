"""Every number and every time that the product decides by, as somebody decided it last."""
