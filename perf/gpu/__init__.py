"""What only a GPU can show: is it right there, how fast, how much memory. `perf/gpu.sh`; one JSON line a part."""
