"""Objects looked at closely: each one cut out of its photo, enlarged, and given to a frozen backbone at the stride it was trained with."""
