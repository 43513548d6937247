"""What the developers of this project run besides its tests."""
