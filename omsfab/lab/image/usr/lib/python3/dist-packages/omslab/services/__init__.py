"""What the programs run: sockets, rows and beats in the place of the Java of OMS."""
