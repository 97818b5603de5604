"""Options of a service two at a time: none of them changes what a script of calls gives."""
