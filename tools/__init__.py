"""Programs of others that this project's tests run: built or fetched by `make tools`, only looked up by the tests."""
