"""PostgREST over HTTP: calls to requests, responses to rows and errors."""
