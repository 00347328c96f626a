"""Third-party programs that this project's tests run. `make tools` builds or downloads them; the tests only look them up."""
