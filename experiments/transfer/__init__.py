"""Does a trunk that was pre-trained on other robots and tasks help a new one that has few demonstrations?"""
