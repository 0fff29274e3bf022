"""The providers the simulator plays, one module each."""
