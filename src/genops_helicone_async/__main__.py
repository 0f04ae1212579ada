"""`python -m genops_helicone_async` is the command line."""

from .cli import main

raise SystemExit(main())
