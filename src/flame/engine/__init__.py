"""The round: what is decided in it (`round`, `gate`), and both ends of it carried out (`leading`, `following`)."""
