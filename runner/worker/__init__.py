"""What travels: carries out a run directory on any host, with nothing but Python 3.9 and its standard library."""
