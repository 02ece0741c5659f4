"""Speech translation and dubbing: the product, free of Ray and Litestar."""
