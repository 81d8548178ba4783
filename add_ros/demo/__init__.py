"""The demo: a clip goes through the real node over DDS, and a page shows the result. `add-ros demo`."""
