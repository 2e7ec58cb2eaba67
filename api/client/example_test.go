package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/user-management-service/ums/api/client"
)

// A program with a key makes an account.
func ExampleNew() {
	ums, err := client.New(client.Config{URL: "https://ums.example.com", APIKey: os.Getenv("UMS_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	email := "ada@example.com"
	made, err := ums.CreateUserWithResponse(context.Background(), nil, client.NewUser{Email: &email})
	var p *client.Problem
	switch {
	case errors.As(err, &p) && p.Code == "email_taken":
		log.Print("known already")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(made.JSON201.ID, made.HTTPResponse.Header.Get("ETag"))
	}
}

// A person signs in, and stays signed in.
func ExampleNewSession() {
	ctx := context.Background()
	stranger, err := client.New(client.Config{URL: "https://ums.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	in, err := stranger.LoginWithResponse(ctx, client.Login{Email: "ada@example.com", Password: os.Getenv("PASSWORD")})
	if err != nil {
		log.Fatal(err)
	}
	session := client.NewSession(*in.JSON200, func(t client.Tokens) { store(*t.RefreshToken) })
	ums, err := client.New(client.Config{URL: "https://ums.example.com", Session: session})
	if err != nil {
		log.Fatal(err)
	}
	me, err := ums.GetMeWithResponse(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(me.JSON200.Roles)
}

func store(string) {}
