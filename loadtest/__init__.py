"""Time to first byte from every region, measured and judged."""
