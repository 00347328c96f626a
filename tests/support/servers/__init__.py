"""Real database servers, started and ended by the tests that use them."""
