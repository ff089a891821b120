"""What hostile servers do (hostile.md 2.J; 2.C and 2.B of clients): a table of named cases, run on the core and on sockets."""
