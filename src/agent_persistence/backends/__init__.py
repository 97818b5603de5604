"""Where rows are kept: PostgREST, PostgreSQL and memory behind one contract, and the transport of the first."""
