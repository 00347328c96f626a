"""The guest test bed: boots User-Mode-Linux guests and runs tests of this suite inside of them."""
