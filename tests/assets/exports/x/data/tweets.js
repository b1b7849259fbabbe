window.YTD.tweets.part0 = [
  {
    "tweet": {
      "edit_info": {
        "initial": {
          "editTweetIds": [
            "101"
          ],
          "isEditEligible": false
        }
      },
      "retweeted": false,
      "source": "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
      "entities": {
        "hashtags": [],
        "symbols": [],
        "user_mentions": [],
        "urls": []
      },
      "display_text_range": [
        "0",
        "45"
      ],
      "favorite_count": "0",
      "id_str": "101",
      "truncated": false,
      "retweet_count": "0",
      "id": "101",
      "created_at": "Wed Jan 03 10:00:00 +0000 2024",
      "favorited": false,
      "full_text": "Fog again &amp; no boats. https://t.co/abc123",
      "lang": "en"
    }
  },
  {
    "tweet": {
      "edit_info": {
        "initial": {
          "editTweetIds": [
            "102"
          ],
          "isEditEligible": false
        }
      },
      "retweeted": false,
      "source": "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
      "entities": {
        "hashtags": [],
        "symbols": [],
        "user_mentions": [],
        "urls": []
      },
      "display_text_range": [
        "0",
        "17"
      ],
      "favorite_count": "0",
      "id_str": "102",
      "truncated": false,
      "retweet_count": "0",
      "id": "102",
      "created_at": "Wed Jan 03 10:05:00 +0000 2024",
      "favorited": false,
      "full_text": "And now it lifts.",
      "lang": "en",
      "in_reply_to_status_id_str": "101",
      "in_reply_to_user_id_str": "7",
      "in_reply_to_screen_name": "ann"
    }
  },
  {
    "tweet": {
      "edit_info": {
        "initial": {
          "editTweetIds": [
            "103"
          ],
          "isEditEligible": false
        }
      },
      "retweeted": false,
      "source": "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
      "entities": {
        "hashtags": [],
        "symbols": [],
        "user_mentions": [],
        "urls": []
      },
      "display_text_range": [
        "0",
        "28"
      ],
      "favorite_count": "0",
      "id_str": "103",
      "truncated": false,
      "retweet_count": "0",
      "id": "103",
      "created_at": "Thu Jan 04 11:00:00 +0000 2024",
      "favorited": false,
      "full_text": "RT @harbour: Ferry cancelled",
      "lang": "en"
    }
  },
  {
    "tweet": {
      "edit_info": {
        "initial": {
          "editTweetIds": [
            "104"
          ],
          "isEditEligible": false
        }
      },
      "retweeted": false,
      "source": "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
      "entities": {
        "hashtags": [],
        "symbols": [],
        "user_mentions": [],
        "urls": []
      },
      "display_text_range": [
        "0",
        "30"
      ],
      "favorite_count": "0",
      "id_str": "104",
      "truncated": false,
      "retweet_count": "0",
      "id": "104",
      "created_at": "Thu Jan 04 12:00:00 +0000 2024",
      "favorited": false,
      "full_text": "@bob @cara_1 I saw @dave there",
      "lang": "en",
      "in_reply_to_status_id_str": "99",
      "in_reply_to_user_id_str": "8"
    }
  },
  {
    "tweet": {
      "edit_info": {
        "initial": {
          "editTweetIds": [
            "105"
          ],
          "isEditEligible": false
        }
      },
      "retweeted": false,
      "source": "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
      "entities": {
        "hashtags": [],
        "symbols": [],
        "user_mentions": [],
        "urls": []
      },
      "display_text_range": [
        "0",
        "111"
      ],
      "favorite_count": "0",
      "id_str": "105",
      "truncated": false,
      "retweet_count": "0",
      "id": "105",
      "created_at": "Fri Jan 05 12:00:00 +0000 2024",
      "favorited": false,
      "full_text": "A long post begins here, and it says a good deal about harbours, boats and fog, far more t\u2026 https://t.co/def456",
      "lang": "en"
    }
  }
]