"""`python -m agent_persistence.cli`."""

from agent_persistence.cli import main

if __name__ == "__main__":
    main()
